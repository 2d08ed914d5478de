  // Independent standard normal sources, but for the SDs of a half-normal prior and the correlations.
  vector[size(typical_free)] typical_raw;
  vector[size(effect_free)] effect_raw;
  vector<lower=0>[omega_prior == 1 ? n_etas : 0] omega_half;
  vector[omega_prior == 2 ? n_etas : 0] omega_raw;
  cholesky_factor_corr[correlated ? n_etas : 1] correlation_chol;
  matrix[n_etas, n_subjects] eta_raw;
  vector[size(sigma_free)] sigma_raw;
