  vector[n_parameters()] typical = typical_mean; // logs
  vector[n_effects] effect = effect_mean;
  typical[typical_free] += typical_sd[typical_free] .* typical_raw;
  effect[effect_free] += effect_sd[effect_free] .* effect_raw;
  vector[n_etas] omega_sd = omega_prior == 1 ? omega_scale .* log1p_exp(omega_half) : exp(omega_location + omega_scale .* omega_raw);
  real sigma_additive; // mg/L
  real sigma_proportional; // fraction
  {
    vector[2] sigma = sigmas(sigma_raw, sigma_free, error_model, sigma_mean, sigma_omega);
    sigma_additive = sigma[1];
    sigma_proportional = sigma[2];
  }
