  if (centred) {
    raw ~ multi_normal_cholesky(zeros_vector(n_free), free_chol);
  } else {
    raw ~ std_normal();
  }
  sigma_raw ~ std_normal();
  target += levels_lpdf(level | below, predicted, sigma_additive, sigma_proportional, error_model, nu);
