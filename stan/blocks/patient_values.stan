  vector[n_parameters()] theta = prior_mean; // logs of the parameters
  if (centred) {
    theta[free] += raw;
  } else {
    theta += spread * raw;
  }
  real sigma_additive; // mg/L
  real sigma_proportional; // fraction
  {
    vector[2] sigma = sigmas(sigma_raw, sigma_free, error_model, sigma_mean, sigma_omega);
    sigma_additive = sigma[1];
    sigma_proportional = sigma[2];
  }
