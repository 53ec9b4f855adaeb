/* Layers of int16 x whose instruction sums two products into a lane: the scratch holds x itself.
 */

typedef int16_t value;
typedef int16_t weight;

#define TAPS 2
#define OFFSET 0
#define X_PLANES 1
#define TAKES_X 1
