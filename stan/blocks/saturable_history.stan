  vector[size(event_times(dose_time, dose_tinf, level_time))] event = event_times(dose_time, dose_tinf, level_time); // h
  array[n_levels] int event_index = event_of_level(event, level_time);
  vector[size(event)] bolus = bolus_at(event, dose_time, dose_amount, dose_tinf); // mg
  vector[size(event)] infused = infusion_from(event, dose_time, dose_amount, dose_tinf); // mg/h
