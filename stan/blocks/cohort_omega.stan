  matrix[n_etas, n_etas] omega; // covariance of the etas
  if (correlated) {
    omega = multiply_lower_tri_self_transpose(diag_pre_multiply(omega_sd, correlation_chol));
  } else {
    omega = diag_matrix(square(omega_sd));
  }
  vector[n_levels] predicted; // mg/L
