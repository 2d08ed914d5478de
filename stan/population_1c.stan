// One compartment with linear elimination, a cohort: typical values, covariate effects and variability between subjects of CL, Vc
// from the levels of all. README.md describes the data.
functions {
#include functions/disposition.stan
#include functions/course.stan
#include functions/residual.stan
#include functions/prior.stan

  int n_parameters() {
    return 2;
  }

  matrix modes_of(vector theta) {
    return modes_1c(exp(theta[1]), exp(theta[2]));
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
}
model {
#include blocks/cohort_model.stan
}
generated quantities {
  vector[n_subjects] CL_i; // L/h
  vector[n_subjects] Vc_i; // L
#include blocks/cohort_omega.stan
  {
#include blocks/cohort_individuals.stan
    for (s in 1 : n_subjects) {
      CL_i[s] = exp(theta[s, 1]);
      Vc_i[s] = exp(theta[s, 2]);
    }
#include blocks/cohort_levels.stan
  }
#include blocks/replicates.stan
}
