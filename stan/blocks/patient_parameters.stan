  vector[n_free] raw; // centred: deviations of the logs from the prior mean; else their independent standard normal sources
  vector[size(sigma_free)] sigma_raw;
