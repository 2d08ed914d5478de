  int<lower=1> n_subjects;
  int<lower=0> n_doses;
  array[n_doses] int<lower=1, upper=n_subjects> dose_subject;
  vector[n_doses] dose_time; // h
  vector<lower=0>[n_doses] dose_amount; // mg
  vector<lower=0>[n_doses] dose_tinf; // h; 0 is a bolus
  int<lower=0> n_levels;
  array[n_levels] int<lower=1, upper=n_subjects> level_subject;
  vector[n_levels] level_time; // h
  vector[n_levels] level; // mg/L; where below = 1, the limit of quantification
  array[n_levels] int<lower=0, upper=1> below;
  vector[n_parameters()] typical_mean; // log of the prior median
  vector<lower=0>[n_parameters()] typical_sd; // of the log; 0 is fixed
  int<lower=0> n_effects;
  array[n_effects] int<lower=1, upper=n_parameters()> effect_parameter;
  matrix[n_subjects, n_effects] design;
  vector[n_effects] effect_mean;
  vector<lower=0>[n_effects] effect_sd; // 0 is fixed
  int<lower=0> n_etas;
  array[n_etas] int<lower=1, upper=n_parameters()> eta_parameter;
  int<lower=1, upper=2> omega_prior; // 1 half-normal, 2 log-normal
  vector[n_etas] omega_location; // log of the log-normal's median
  vector<lower=0>[n_etas] omega_scale; // scale of the half-normal, SD of the log of the log-normal
  real<lower=0> lkj; // shape; 0: no correlations
  int<lower=1, upper=6> error_model;
  vector[2] sigma_mean; // log of the prior median of the additive (mg/L) and the proportional error
  vector<lower=0>[2] sigma_omega; // SD of the log; 0 is fixed
  real<lower=0> nu; // degrees of freedom of Student's t
  int<lower=0> grainsize; // subjects a slice; 0: no reduce_sum
