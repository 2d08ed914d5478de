  array[n_subjects] vector[n_parameters()] theta = individuals(typical, effect, effect_parameter, design,
    (correlated ? diag_pre_multiply(omega_sd, correlation_chol) * eta_raw : diag_pre_multiply(omega_sd, eta_raw))', eta_parameter);
