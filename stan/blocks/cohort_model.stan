#include blocks/cohort_individuals.stan
  typical_raw ~ std_normal();
  effect_raw ~ std_normal();
  target += std_normal_lupdf(log1p_exp(omega_half)) + sum(log_inv_logit(omega_half));
  omega_raw ~ std_normal();
  if (correlated) {
    correlation_chol ~ lkj_corr_cholesky(lkj);
  }
  to_vector(eta_raw) ~ std_normal();
  sigma_raw ~ std_normal();
  if (grainsize > 0) {
    target += reduce_sum(cohort_part, theta, grainsize, level_start, given_start, given_amount, lag, infused_start, infused_rate, filling,
                         since, level, below, sigma_additive, sigma_proportional, error_model, nu);
  } else {
    target += cohort_part(theta, 1, n_subjects, level_start, given_start, given_amount, lag, infused_start, infused_rate, filling,
                          since, level, below, sigma_additive, sigma_proportional, error_model, nu);
  }
