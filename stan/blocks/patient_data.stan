  int<lower=0> n_doses;
  vector[n_doses] dose_time; // h
  vector<lower=0>[n_doses] dose_amount; // mg
  vector<lower=0>[n_doses] dose_tinf; // h; 0 is a bolus
  int<lower=0> n_levels;
  vector[n_levels] level_time; // h
  vector[n_levels] level; // mg/L; where below = 1, the limit of quantification
  array[n_levels] int<lower=0, upper=1> below;
  vector[n_parameters()] prior_mean; // log of the prior median
  matrix[n_parameters(), n_parameters()] prior_chol; // lower Cholesky factor of the prior covariance of the log
  int<lower=1, upper=6> error_model;
  vector[2] sigma_mean; // log of the prior median of the additive (mg/L) and the proportional error
  vector<lower=0>[2] sigma_omega; // SD of the log; 0 is fixed
  real<lower=0> nu; // degrees of freedom of Student's t
  int<lower=0, upper=1> centred;
