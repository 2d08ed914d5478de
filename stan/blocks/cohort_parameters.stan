  // Independent standard normal sources, but for the SDs of a half-normal prior and the correlations. A chain that begins at random
  // begins at up to 2 times the multiplier from the offset: extremes of all of them together predict next to nothing for some subject,
  // of which a proportional error has a log density of -1e12 and beyond, and there only steps too short to lead away keep the energy.
  vector<multiplier=0.1>[size(typical_free)] typical_raw;
  vector<multiplier=0.1>[size(effect_free)] effect_raw;
  vector<offset=-1>[omega_prior == 1 ? n_etas : 0] omega_half; // log(1 + exp()) of it is half-normal: not exp(), which begins at up to 7 SD
  vector[omega_prior == 2 ? n_etas : 0] omega_raw;
  cholesky_factor_corr[correlated ? n_etas : 1] correlation_chol;
  matrix<multiplier=0.25>[n_etas, n_subjects] eta_raw;
  vector[size(sigma_free)] sigma_raw;
