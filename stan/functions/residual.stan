  // Residual error. Models: 1 additive, sd = a; 2 proportional, sd = p f; 3 combined, variance = a^2 + (p f)^2; 4 combined, sd = a + p f;
  // 5 and 6 Student's t with scale a and p f. a: mg/L, p: fraction, f: predicted concentration, mg/L.

  int has_additive(int error_model) {
    return error_model != 2 && error_model != 6;
  }

  int has_proportional(int error_model) {
    return error_model != 1 && error_model != 5;
  }

  // SD (or Student's scale), mg/L. Where f underflows to 0 a proportional error would vanish and the density be undefined: 1e-100 mg/L
  // instead, which leaves it finite and makes a level that is not 0 as improbable as it is.
  vector residual_sd(vector f, int error_model, real a, real p) {
    if (error_model == 1 || error_model == 5) {
      return rep_vector(a, size(f));
    }
    if (error_model == 3) {
      return sqrt(square(a) + square(p * f));
    }
    if (error_model == 4) {
      return a + p * f;
    }
    return fmax(p * f, 1e-100);
  }

  // log P(T < z) of Student's t. In the far tail the incomplete beta function may underflow: there its leading terms in
  // x = nu/(nu + z^2) (Abramowitz & Stegun 6.6.8).
  real student_lcdf(real z, real nu) {
    real x = nu / (nu + square(z));
    if (z < 0 && x < 1e-4) {
      real h = 0.5 * nu;
      real series = h * x / (h + 1) * 0.5 + h * square(x) / (h + 2) * 0.375 + h * x * square(x) / (h + 3) * 0.3125;
      return h * log(x) + log1p(series) - log(nu) - lbeta(h, 0.5);
    }
    return student_t_lcdf(z | nu, 0, 1);
  }

  // log P(Z < z) of the standard normal: by erfc, whose gradient is exact (that of normal_lcdf is good to five digits), and where that
  // underflows by its asymptotic series (Abramowitz & Stegun 26.2.12).
  real gauss_lcdf(real z) {
    if (z < -30) {
      real w = inv_square(z);
      return std_normal_lpdf(z) - log(-z) + log1p(-w * (1 - 3 * w * (1 - 5 * w * (1 - 7 * w))));
    }
    if (z > 0) {
      return log1m(0.5 * erfc(z * sqrt(0.5)));
    }
    return log(0.5 * erfc(-z * sqrt(0.5)));
  }

  // Log likelihood of one level. Below quantification `level` is the limit, and the likelihood the probability of less than it: method
  // M3 (Beal, J Pharmacokinet Pharmacodyn 2001;28:481).
  real level_lpdf(real level, int below, real f, real sd, int error_model, real nu) {
    if (error_model >= 5) {
      return below ? student_lcdf((level - f) / sd | nu) : student_t_lpdf(level | nu, f, sd);
    }
    return below ? gauss_lcdf((level - f) / sd) : normal_lpdf(level | f, sd);
  }

  real levels_lpdf(vector level, array[] int below, vector f, real a, real p, int error_model, real nu) {
    vector[size(f)] sd = residual_sd(f, error_model, a, p);
    if (sum(below) == 0) {
      return error_model >= 5 ? student_t_lpdf(level | nu, f, sd) : normal_lpdf(level | f, sd);
    }
    real total = 0;
    for (m in 1 : size(f)) {
      total += level_lpdf(level[m] | below[m], f[m], sd[m], error_model, nu);
    }
    return total;
  }
