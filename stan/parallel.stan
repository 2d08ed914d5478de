// One compartment with linear and saturable elimination, one patient: CL, Vmax, Km, Vc from levels. README.md describes the data.
functions {
#include functions/saturable.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 4;
  }
}
data {
#include blocks/patient_data.stan
}
transformed data {
#include blocks/saturable_history.stan
#include blocks/patient_prior.stan
}
parameters {
#include blocks/patient_parameters.stan
}
transformed parameters {
#include blocks/patient_values.stan
  real CL = exp(theta[1]); // L/h
  real Vmax = exp(theta[2]); // mg/h
  real Km = exp(theta[3]); // mg/L
  real Vc = exp(theta[4]); // L
  vector[n_levels] predicted = zeros_vector(n_levels); // mg/L
  {
    vector[size(event)] C = saturable_course(event, bolus, infused, CL, Vmax, Km, Vc);
    for (m in 1 : n_levels) {
      if (event_index[m] > 0) {
        predicted[m] = C[event_index[m]];
      }
    }
  }
}
model {
#include blocks/patient_model.stan
}
generated quantities {
#include blocks/replicates.stan
}
