  // Parameters that are estimated: those with a variance of their own in the Cholesky factor of the prior. A zero row is a fixed parameter.
  array[] int free_rows(matrix chol) {
    int n = 0;
    for (i in 1 : rows(chol)) {
      n += chol[i, i] > 0;
    }
    array[n] int free = rep_array(0, n);
    int k = 0;
    for (i in 1 : rows(chol)) {
      if (chol[i, i] > 0) {
        k += 1;
        free[k] = i;
      }
    }
    return free;
  }

  // Which of the two sigmas are estimated: the error model has them, and their prior has a spread.
  array[] int free_sigmas(int error_model, vector sigma_omega) {
    array[2] int is_free = {has_additive(error_model) && sigma_omega[1] > 0, has_proportional(error_model) && sigma_omega[2] > 0};
    array[sum(is_free)] int free = rep_array(0, sum(is_free));
    int k = 0;
    for (i in 1 : 2) {
      if (is_free[i]) {
        k += 1;
        free[k] = i;
      }
    }
    return free;
  }

  // The two sigmas; one that the error model lacks is 0.
  vector sigmas(vector raw, array[] int free, int error_model, vector sigma_mean, vector sigma_omega) {
    vector[2] log_sigma = sigma_mean;
    log_sigma[free] += sigma_omega[free] .* raw;
    return [has_additive(error_model) ? exp(log_sigma[1]) : 0, has_proportional(error_model) ? exp(log_sigma[2]) : 0]';
  }
