  // Where each subject's rows begin, and, last, where they end: (n_subjects + 1). Rows are listed subject by subject.
  array[] int subject_starts(int n_subjects, array[] int subject) {
    array[n_subjects + 1] int start;
    int k = 1;
    for (i in 1 : n_subjects) {
      start[i] = k;
      while (k <= size(subject) && subject[k] == i) {
        k += 1;
      }
    }
    start[n_subjects + 1] = k;
    if (k <= size(subject)) {
      reject("subject: row ", k, " is out of order. List doses and levels subject by subject, from 1.");
    }
    return start;
  }

  // Where spread > 0: what is estimated.
  array[] int free_of(vector spread) {
    array[size(spread)] int found = rep_array(0, size(spread));
    int n = 0;
    for (i in 1 : size(spread)) {
      if (spread[i] > 0) {
        n += 1;
        found[n] = i;
      }
    }
    return found[1 : n];
  }

  // Logs of the subjects' parameters: typical (P), design (subject, effect), eta (subject, eta).
  array[] vector individuals(vector typical, vector effect, array[] int effect_parameter, matrix design, matrix eta,
                             array[] int eta_parameter) {
    matrix[rows(eta), size(typical)] logs = rep_matrix(typical', rows(eta));
    array[rows(eta)] vector[size(typical)] each;
    for (k in 1 : size(effect)) {
      logs[ : , effect_parameter[k]] += design[ : , k] * effect[k];
    }
    for (e in 1 : cols(eta)) {
      logs[ : , eta_parameter[e]] += eta[ : , e];
    }
    for (i in 1 : rows(eta)) {
      each[i] = logs[i]';
    }
    return each;
  }

  // Predicted concentrations of levels from .. to, all of one subject with these logs of parameters; mg/L.
  vector subject_levels(vector theta, int from, int to, array[] int given_start, vector given_amount, vector lag,
                        array[] int infused_start, vector infused_rate, vector filling, vector since) {
    matrix[n_parameters() %/% 2, 2] modes = modes_of(theta);
    int g = given_start[from];
    int h = given_start[to + 1] - 1;
    int i = infused_start[from];
    int j = infused_start[to + 1] - 1;
    return exp(-theta[1]) * (by_level(given_start[from : to + 1], given_amount[g : h], after_bolus(modes, lag[g : h]))
                             + by_level(infused_start[from : to + 1], infused_rate[i : j],
                                        after_infusion(modes, filling[i : j], since[i : j])));
  }

  // Log likelihood of subjects first .. last; theta are theirs alone.
  real cohort_part(array[] vector theta, int first, int last, array[] int level_start, array[] int given_start,
                   vector given_amount, vector lag, array[] int infused_start, vector infused_rate, vector filling,
                   vector since, vector level, array[] int below, real a, real p, int error_model, real nu) {
    real total = 0;
    for (s in first : last) {
      int from = level_start[s];
      int to = level_start[s + 1] - 1;
      if (to >= from) {
        vector[to - from + 1] f = subject_levels(theta[s - first + 1], from, to, given_start, given_amount, lag, infused_start,
                                                 infused_rate, filling, since);
        total += levels_lpdf(level[from : to] | below[from : to], f, a, p, error_model, nu);
      }
    }
    return total;
  }
