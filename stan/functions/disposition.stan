  // Linear disposition: the exponentials of one, two and three mammillary compartments (Gibaldi & Perrier, Pharmacokinetics, 2nd ed.
  // 1982, ch. 2; Wagner, J Pharmacokinet Biopharm 1976;4:443). A unit bolus gives h(t) = 1/CL sum_k u_k lambda_k exp(-lambda_k t).
  // Each function returns a matrix (mode, 2): the rates lambda_k, 1/h, fastest first, and the shares u_k of AUC, which sum to 1.

  // 1/h. A rate that vanishes is raised to this, so that ratios such as (1 - e^-at)/(1 - e^-bt) take their limit a/b.
  real tiny_rate() {
    return 1e-290;
  }

  matrix modes_1c(real CL, real Vc) {
    return [[CL / Vc, 1]];
  }

  // Roots a > b of x^2 - (k10 + k12 + k21) x + k10 k21 without subtracting like from like: the discriminant is
  // (k10 - k12 - k21)^2 + 4 k10 k12, and (a - k10)(k10 - b) = k10 k12, so the larger share is a sum and the smaller a quotient.
  matrix modes_2c(real CL, real Vc, real Q1, real Vp1) {
    real k10 = CL / Vc;
    real k12 = Q1 / Vc;
    real k21 = Q1 / Vp1;
    real difference = k10 - k12 - k21;
    real mixed = k10 * k12;
    real gap = sqrt(square(difference) + 4 * mixed);
    real fast = 0.5 * (k10 + k12 + k21 + gap);
    real slow = fmax(k10 * k21 / fast, tiny_rate());
    real larger = 0.5 * (abs(difference) + gap);
    real smaller = mixed / larger / gap;
    larger /= gap;
    if (difference >= 0) {
      return [[fast, larger], [slow, smaller]];
    }
    return [[fast, smaller], [slow, larger]];
  }

  // cos(arccos(x)/3). It is analytic where x = 1 (two roots of the cubic coincide), arccos is not: there, the series of
  // 2F1(1/3, -1/3; 1/2; (1 - x)/2) (Abramowitz & Stegun 15.1.17), so that value and gradient hold.
  real cos_third(real x) {
    if (x > 0.99) {
      real z = 0.5 * (1 - x);
      real term = 1;
      real value = 1;
      for (n in 0 : 7) {
        term *= (square(n) - 1.0 / 9) / ((n + 0.5) * (n + 1)) * z;
        value += term;
      }
      return value;
    }
    if (x <= -1) {
      return 0.5;
    }
    return cos(acos(x) / 3);
  }

  // Largest root by the trigonometric formula, the other two from the deflated quadratic. With sum u lambda = k10 and
  // sum u lambda^2 = k10 (k10 + k12 + k13), the shares are
  // u_i = ((lambda_j - k10)(lambda_k - k10) + k10 (k12 + k13)) / ((lambda_i - lambda_j)(lambda_i - lambda_k)); the middle one is what
  // remains, so that the sum is exact where two rates coincide and only their common share is determined.
  matrix modes_3c(real CL, real Vc, real Q1, real Vp1, real Q2, real Vp2) {
    real tiny = tiny_rate();
    real k10 = CL / Vc;
    real k12 = Q1 / Vc;
    real k21 = Q1 / Vp1;
    real k13 = Q2 / Vc;
    real k31 = Q2 / Vp2;
    real out_of_centre = k12 + k13;
    real product = k10 * k21 * k31;
    real pairs = k10 * (k21 + k31) + k12 * k31 + k13 * k21 + k21 * k31;
    real centre = (k10 + out_of_centre + k21 + k31) / 3;
    real spread = sqrt(fmax(square(centre) - pairs / 3, tiny));
    real cosine = (centre * (square(centre) - 0.5 * pairs) + 0.5 * product) / (spread * spread * spread);
    real fast = centre + 2 * spread * cos_third(cosine);
    real others = product / fast;
    real half = 0.5 * (pairs - others) / fast;
    real split = sqrt(fmax(square(half) - others, tiny)) - sqrt(tiny); // 0, and its gradient too, where nothing is left
    real middle = fmax(half + split, tiny);
    real slow = fmax(others / middle, tiny);
    real mixed = k10 * out_of_centre;
    real first = ((middle - k10) * (slow - k10) + mixed) / fmax((fast - middle) * (fast - slow), tiny);
    real last = ((fast - k10) * (middle - k10) + mixed) / fmax((fast - slow) * (middle - slow), tiny);
    first = fmin(fmax(first, 0), 1);
    last = slow > tiny ? fmin(fmax(last, 0), 1) : 0; // a compartment without flow takes nothing
    return [[fast, first], [middle, middle > tiny ? 1 - first - last : 0], [slow, last]];
  }
