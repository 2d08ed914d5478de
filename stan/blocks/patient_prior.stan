  int n_free = size(free_rows(prior_chol));
  array[n_free] int free = free_rows(prior_chol);
  matrix[n_parameters(), n_free] spread = prior_chol[ : , free];
  matrix[n_free, n_free] free_chol = prior_chol[free, free];
  array[size(free_sigmas(error_model, sigma_omega))] int sigma_free = free_sigmas(error_model, sigma_omega);
  for (i in 1 : n_parameters()) {
    if (prior_chol[i, i] == 0 && max(abs(prior_chol[ : , i])) > 0) {
      reject("prior_chol: column ", i, " must be 0 like its diagonal. Give the factor of a covariance with a zero row.");
    }
    if (centred && prior_chol[i, i] == 0 && max(abs(prior_chol[i])) > 0) {
      reject("prior_chol: row ", i, " is determined by the others, which has no density of its own. Set centred to 0.");
    }
  }
  for (m in 1 : n_levels) {
    if (!has_additive(error_model) && !below[m] && (n_doses == 0 || level_time[m] <= min(dose_time))) {
      reject("level ", m, ": before the first dose 0 is predicted, and a proportional error has no spread. Use a combined error.");
    }
  }
