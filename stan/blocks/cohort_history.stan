  array[n_subjects + 1] int dose_start = subject_starts(n_subjects, dose_subject);
  array[n_subjects + 1] int level_start = subject_starts(n_subjects, level_subject);
  array[n_levels] int first_dose = dose_start[level_subject];
  array[n_levels] int last_dose = rep_array(0, n_levels);
  for (m in 1 : n_levels) {
    last_dose[m] = dose_start[level_subject[m] + 1] - 1;
  }
#include blocks/pairs.stan
  for (m in 1 : n_levels) {
    if (!has_additive(error_model) && !below[m] && given_start[m] == given_start[m + 1] && infused_start[m] == infused_start[m + 1]) {
      reject("level ", m, ": before the first dose 0 is predicted, and a proportional error has no spread. Use a combined error.");
    }
  }
  array[size(free_of(typical_sd))] int typical_free = free_of(typical_sd);
  array[size(free_of(effect_sd))] int effect_free = free_of(effect_sd);
  array[size(free_sigmas(error_model, sigma_omega))] int sigma_free = free_sigmas(error_model, sigma_omega);
  int correlated = lkj > 0 && n_etas > 1;
