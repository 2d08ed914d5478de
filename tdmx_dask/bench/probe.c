/* The reference of the kernel's benchmark: what a compiler makes of the same answer in C.
   Largest level that a two-compartment profile at steady state exceeds during a fraction x of tau: three Halley steps from the
   middle of the bracket, no branch in the loop, so that gcc vectorises it (with libmvec's exp). Not a solver to rely on: it checks
   no residual. Built as a shared library: gcc -O3 -march=native -ffast-math -mprefer-vector-width=512 -shared -fPIC -lmvec -lm */
#include <math.h>

void critical(const double *restrict CL, const double *restrict Vc, const double *restrict Q, const double *restrict Vp,
              double *restrict out, long n, double dose, double tau, double tinf, double x) {
  const double rate_in = dose / tinf, width = x * tau;
  const double low = fmax(0.0, tinf - width), high = fmin(tinf, tau - width), middle = 0.5 * (low + high);
  for (long i = 0; i < n; i++) {
    const double k10 = CL[i] / Vc[i], k12 = Q[i] / Vc[i], k21 = Q[i] / Vp[i];
    const double sum = k10 + k12 + k21, gap = sqrt(sum * sum - 4.0 * k10 * k21);
    const double a = 0.5 * (sum + gap), b = k10 * k21 / a;
    const double scale = rate_in / (gap * Vc[i]);
    const double plateau_a = scale * (a - k21) / a, plateau_b = scale * (k21 - b) / b;
    /* exponentials of the width, of the infusion and of what remains of the interval; their products give the others */
    const double wa = exp(-a * width), wb = exp(-b * width), ia = exp(-a * tinf), ib = exp(-b * tinf);
    const double ra = exp(-a * (tau - width)), rb = exp(-b * (tau - width)), ea = wa * ra, eb = wb * rb;
    const double qa = plateau_a / (1.0 - ea), qb = plateau_b / (1.0 - eb);
    const double gap_a = qa * (1.0 - ea / ia), gap_b = qb * (1.0 - eb / ib);
    const double ca = gap_a + qa * (1.0 - ia) * (wa / ia), cb = gap_b + qb * (1.0 - ib) * (wb / ib);
    const double plateau = plateau_a + plateau_b;
    double t = middle, xa = 0.0, xb = 0.0, step = 0.0;
    for (int k = 0; k < 3; k++) {
      xa = exp(-a * t);
      xb = exp(-b * t);
      const double fa = ca * xa, fb = cb * xb;
      const double g = plateau - fa - fb, g1 = a * fa + b * fb, g2 = -(a * a * fa + b * b * fb);
      step = -2.0 * g * g1 / (2.0 * g1 * g1 - g * g2);
      t += step;
    }
    const double ua = a * step, ub = b * step; /* the last step by its series */
    out[i] = plateau - gap_a * xa * (1.0 - ua * (1.0 - 0.5 * ua)) - gap_b * xb * (1.0 - ub * (1.0 - 0.5 * ub));
  }
}
