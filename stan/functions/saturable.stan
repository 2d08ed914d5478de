  // One compartment with linear and saturable elimination, integrated from event to event (a dose's begin, an infusion's end, a level):
  // between two of them its right-hand side is smooth, so that an adaptive solver never steps across a jump.

  // The events from the first dose to the last level, h, each once, in order; none where no level lies after a dose.
  vector event_times(vector dose_time, vector dose_tinf, vector level_time) {
    if (size(dose_time) == 0 || size(level_time) == 0) {
      return zeros_vector(0);
    }
    vector[2 * size(dose_time) + size(level_time)] time = sort_asc(
      append_row(append_row(dose_time, dose_time + dose_tinf), level_time));
    int n = 0;
    for (i in 1 : size(time)) {
      if (time[i] >= min(dose_time) && time[i] <= max(level_time) && (n == 0 || time[i] > time[n])) {
        n += 1;
        time[n] = time[i];
      }
    }
    return n > 1 ? time[1 : n] : zeros_vector(0);
  }

  // Where each level stands among the events; 0 before the first dose.
  array[] int event_of_level(vector event, vector level_time) {
    array[size(level_time)] int found = rep_array(0, size(level_time));
    for (m in 1 : size(level_time)) {
      for (i in 1 : size(event)) {
        if (event[i] == level_time[m]) {
          found[m] = i;
        }
      }
    }
    return found;
  }

  // Bolus at each event, mg.
  vector bolus_at(vector event, vector dose_time, vector dose_amount, vector dose_tinf) {
    vector[size(event)] amount = zeros_vector(size(event));
    for (i in 1 : size(event)) {
      for (d in 1 : size(dose_time)) {
        if (dose_tinf[d] == 0 && dose_time[d] == event[i]) {
          amount[i] += dose_amount[d];
        }
      }
    }
    return amount;
  }

  // Rate of infusion from each event to the next, mg/h.
  vector infusion_from(vector event, vector dose_time, vector dose_amount, vector dose_tinf) {
    vector[size(event)] rate = zeros_vector(size(event));
    for (i in 1 : size(event)) {
      for (d in 1 : size(dose_time)) {
        if (dose_time[d] <= event[i] && event[i] < dose_time[d] + dose_tinf[d]) {
          rate[i] += dose_amount[d] / dose_tinf[d];
        }
      }
    }
    return rate;
  }

  // dC/dt = (input - CL C - Vmax C/(Km + C))/Vc, mg/L/h.
  vector saturable_slope(real t, vector C, real infused, real CL, real Vmax, real Km, real Vc) {
    return (infused - (CL + Vmax / (Km + C)) .* C) / Vc;
  }

  // Concentration at each event, just before a bolus that is due then; mg/L.
  vector saturable_course(data vector event, data vector bolus, data vector infused, real CL, real Vmax, real Km, real Vc) {
    vector[size(event)] C = zeros_vector(size(event));
    for (i in 2 : size(event)) {
      vector[1] start = [C[i - 1] + bolus[i - 1] / Vc]';
      C[i] = ode_rk45_tol(saturable_slope, start, 0, {event[i] - event[i - 1]}, 1e-9, 1e-9, 100000, infused[i - 1], CL, Vmax, Km, Vc)[1, 1];
    }
    return C;
  }
