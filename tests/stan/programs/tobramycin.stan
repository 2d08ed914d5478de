// Two compartments by micro-constants, random effects on ke and V, a proportional error that is fixed: the MAP of one patient.
// The etas are unconstrained, so that the mode has no Jacobian in it.
functions {
#include functions/disposition.stan
#include functions/course.stan
}
data {
  vector[2] typical; // ke, 1/h; V, L
  vector<lower=0>[2] variance; // of the etas
  real k12; // 1/h
  real k21; // 1/h
  real amount; // mg, from time 0
  real tinf; // h
  int n_levels;
  vector[n_levels] level_time; // h, after the infusion's end
  vector[n_levels] level; // mg/L
  real proportional; // SD as a fraction
}
parameters {
  vector[2] eta;
}
transformed parameters {
  real ke = typical[1] * exp(eta[1]);
  real V = typical[2] * exp(eta[2]);
  vector[n_levels] predicted
    = amount / tinf / (ke * V)
      * after_infusion(modes_2c(ke * V, V, k12 * V, k12 * V / k21), fmin(level_time, tinf), fmax(level_time - tinf, 0));
}
model {
  eta ~ normal(0, sqrt(variance));
  level ~ normal(predicted, proportional * predicted);
}
