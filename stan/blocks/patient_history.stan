  array[n_levels] int first_dose = rep_array(1, n_levels);
  array[n_levels] int last_dose = rep_array(n_doses, n_levels);
#include blocks/pairs.stan
