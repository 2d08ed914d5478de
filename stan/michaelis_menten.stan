// One compartment with saturable elimination, one patient: Vmax, Km, Vc from levels. README.md describes the data.
functions {
#include functions/saturable.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 3;
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
  real Vmax = exp(theta[1]); // mg/h
  real Km = exp(theta[2]); // mg/L
  real Vc = exp(theta[3]); // L
  vector[n_levels] predicted = zeros_vector(n_levels); // mg/L
  {
    vector[size(event)] C = saturable_course(event, bolus, infused, 0, Vmax, Km, Vc);
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
