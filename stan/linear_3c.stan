// Three compartments with linear elimination, one patient: CL, Vc, Q1, Vp1, Q2, Vp2 from levels. README.md describes the data.
functions {
#include functions/disposition.stan
#include functions/course.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 6;
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
  real Q1 = exp(theta[3]); // L/h
  real Vp1 = exp(theta[4]); // L
  real Q2 = exp(theta[5]); // L/h
  real Vp2 = exp(theta[6]); // L
  vector[n_levels] predicted; // mg/L
  {
    matrix[3, 2] modes = modes_3c(CL, Vc, Q1, Vp1, Q2, Vp2);
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
