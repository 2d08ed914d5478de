// One compartment with linear elimination, one patient: CL, Vc from levels. README.md describes the data.
functions {
#include functions/disposition.stan
#include functions/course.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 2;
  }
}
data {
#include blocks/patient_data.stan
}
transformed data {
#include blocks/patient_history.stan
#include blocks/patient_prior.stan
}
parameters {
#include blocks/patient_parameters.stan
}
transformed parameters {
#include blocks/patient_values.stan
  real CL = exp(theta[1]); // L/h
  real Vc = exp(theta[2]); // L
  vector[n_levels] predicted; // mg/L
  {
    matrix[1, 2] modes = modes_1c(CL, Vc);
    predicted = (by_level(given_start, given_amount, after_bolus(modes, lag))
                 + by_level(infused_start, infused_rate, after_infusion(modes, filling, since))) / CL;
  }
}
model {
#include blocks/patient_model.stan
}
generated quantities {
#include blocks/replicates.stan
}
