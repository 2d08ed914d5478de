// Three compartments with linear elimination, a cohort: typical values, covariate effects and variability between subjects of CL, Vc, Q1, Vp1, Q2, Vp2
// from the levels of all. README.md describes the data.
functions {
#include functions/disposition.stan
#include functions/course.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 6;
  }

  matrix modes_of(vector theta) {
    return modes_3c(exp(theta[1]), exp(theta[2]), exp(theta[3]), exp(theta[4]), exp(theta[5]), exp(theta[6]));
  }

#include functions/cohort.stan
}
data {
#include blocks/cohort_data.stan
}
transformed data {
#include blocks/cohort_history.stan
}
parameters {
#include blocks/cohort_parameters.stan
}
transformed parameters {
#include blocks/cohort_values.stan
  real CL = exp(typical[1]); // L/h
  real Vc = exp(typical[2]); // L
  real Q1 = exp(typical[3]); // L/h
  real Vp1 = exp(typical[4]); // L
  real Q2 = exp(typical[5]); // L/h
  real Vp2 = exp(typical[6]); // L
}
model {
#include blocks/cohort_model.stan
}
generated quantities {
  vector[n_subjects] CL_i; // L/h
  vector[n_subjects] Vc_i; // L
  vector[n_subjects] Q1_i; // L/h
  vector[n_subjects] Vp1_i; // L
  vector[n_subjects] Q2_i; // L/h
  vector[n_subjects] Vp2_i; // L
#include blocks/cohort_omega.stan
  {
#include blocks/cohort_individuals.stan
    for (s in 1 : n_subjects) {
      CL_i[s] = exp(theta[s, 1]);
      Vc_i[s] = exp(theta[s, 2]);
      Q1_i[s] = exp(theta[s, 3]);
      Vp1_i[s] = exp(theta[s, 4]);
      Q2_i[s] = exp(theta[s, 5]);
      Vp2_i[s] = exp(theta[s, 6]);
    }
#include blocks/cohort_levels.stan
  }
#include blocks/replicates.stan
}
