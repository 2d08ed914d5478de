  vector[n_levels] log_lik;
  vector[n_levels] level_rep; // mg/L, of a new measurement at each time; not cut at the limit of quantification
  {
    vector[n_levels] sd = residual_sd(predicted, error_model, sigma_additive, sigma_proportional);
    for (m in 1 : n_levels) {
      log_lik[m] = level_lpdf(level[m] | below[m], predicted[m], sd[m], error_model, nu);
      level_rep[m] = error_model >= 5 ? student_t_rng(nu, predicted[m], sd[m]) : normal_rng(predicted[m], sd[m]);
    }
  }
