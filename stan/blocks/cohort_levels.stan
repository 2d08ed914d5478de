  for (s in 1 : n_subjects) {
    int from = level_start[s];
    int to = level_start[s + 1] - 1;
    if (to >= from) {
      predicted[from : to] = subject_levels(theta[s], from, to, given_start, given_amount, lag, infused_start, infused_rate, filling,
                                            since);
    }
  }
