/* The plain loops for every processor. */

#define LOOP(name) name##_scalar
#include "loops.h"
#include "loops_linear.h"
