  // The concentration after any dose history, by superposition: each dose that begins before a level adds its own exponentials.
  // A "pair" is such a dose and level; what depends on data alone (weights, lags) is worked out once, for boluses and infusions apart.

  // How many pairs there are: doses first[m] .. last[m] are those that may count for level m.
  int pair_count(int infusions, array[] int first, array[] int last, vector dose_time, vector dose_tinf, vector level_time) {
    int n = 0;
    for (m in 1 : size(first)) {
      for (d in first[m] : last[m]) {
        n += dose_time[d] < level_time[m] && (dose_tinf[d] > 0) == infusions;
      }
    }
    return n;
  }

  // The pairs, ordered by level: (pair, 2), the level's number and the dose's. A dose due at a level's time comes after it.
  array[,] int pair_table(int n, int infusions, array[] int first, array[] int last, vector dose_time, vector dose_tinf,
                          vector level_time) {
    array[n, 2] int pair = rep_array(0, n, 2);
    int k = 0;
    for (m in 1 : size(first)) {
      for (d in first[m] : last[m]) {
        if (dose_time[d] < level_time[m] && (dose_tinf[d] > 0) == infusions) {
          k += 1;
          pair[k, 1] = m;
          pair[k, 2] = d;
        }
      }
    }
    return pair;
  }

  // Where each level's pairs begin in the table, and, last, where the table ends: (n_levels + 1).
  array[] int pair_starts(int n_levels, array[,] int pair) {
    array[n_levels + 1] int start;
    int k = 1;
    for (m in 1 : n_levels) {
      start[m] = k;
      while (k <= size(pair) && pair[k, 1] == m) {
        k += 1;
      }
    }
    start[n_levels + 1] = k;
    return start;
  }

  // What 1 mg given at once leaves after `lag` h, times CL; 1/h.
  vector after_bolus(matrix modes, vector lag) {
    vector[size(lag)] left = zeros_vector(size(lag));
    for (k in 1 : rows(modes)) {
      left += (modes[k, 1] * modes[k, 2]) * exp(-modes[k, 1] * lag);
    }
    return left;
  }

  // What an infusion of 1 mg/h leaves that has run for `filling` h and ended `since` h ago, times CL; no unit.
  vector after_infusion(matrix modes, vector filling, vector since) {
    vector[size(since)] left = zeros_vector(size(since));
    for (k in 1 : rows(modes)) {
      left -= modes[k, 2] * (expm1(-modes[k, 1] * filling) .* exp(-modes[k, 1] * since));
    }
    return left;
  }

  // Sum of each level's pairs: start is (n_levels + 1) and may begin anywhere, weight and response (pair).
  vector by_level(array[] int start, vector weight, vector response) {
    int n_levels = size(start) - 1;
    vector[n_levels] total;
    for (m in 1 : n_levels) {
      int from = start[m] - start[1] + 1;
      int to = start[m + 1] - start[1];
      total[m] = dot_product(weight[from : to], response[from : to]);
    }
    return total;
  }
