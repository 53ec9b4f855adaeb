/* A device's program around an exported model: a frame of a camera, cut, averaged and classified.
 *
 *     edgeinfer demo -o . && edgeinfer export digits.eqm --to c -o digits_c
 *     cc -Idigits_c/src classify_frame.c digits_c/src/digits.c -o classify_frame
 *     ./classify_frame FRAME.pgm
 *
 * The frame is a grey picture (binary PGM) of a digit in dark ink on light paper. On a device the
 * file is the driver's buffer, and main() its loop; nothing else changes.
 */

#include <stdio.h>
#include <stdlib.h>

#include "digits.h"

enum { SIDE = 8, DARKEST = 16 }; /* what the model was trained on: 8x8 values of 0 to 16 */

/* The mean of one of SIDE x SIDE fields of the largest square in the middle of the frame. */
static float mean(const unsigned char *frame, int width, int height, int row, int column) {
    const int side = width < height ? width : height;
    const int left = (width - side) / 2, top = (height - side) / 2;
    long sum = 0;
    int count = 0;
    for (int y = row * side / SIDE; y < (row + 1) * side / SIDE; ++y)
        for (int x = column * side / SIDE; x < (column + 1) * side / SIDE; ++x, ++count)
            sum += frame[(top + y) * width + left + x];
    return (float)sum / (float)count;
}

static int classify(const unsigned char *frame, int width, int height) {
    for (int i = 0; i < SIDE * SIDE; ++i) {
        const float ink = 255.0f - mean(frame, width, height, i / SIDE, i % SIDE);
        digits_input_image()[i] = DIGITS_INPUT_IMAGE_QUANTIZE(ink * DARKEST / 255.0f);
    }
    if (digits_run() != 0) return -1;
    int best = 0;
    for (int i = 1; i < DIGITS_OUTPUT_SCORES_ELEMENTS; ++i)
        if (digits_output_scores()[i] > digits_output_scores()[best]) best = i;
    return best;
}

int main(int count, char **arguments) {
    for (int i = 1; i < count; ++i) {
        int width, height;
        FILE *file = fopen(arguments[i], "rb");
        if (file == NULL || fscanf(file, "P5 %d %d 255%*c", &width, &height) != 2 || width < SIDE ||
            height < SIDE || width > 10000 || height > 10000) {
            fprintf(stderr, "%s is no binary PGM of %d x %d or more\n", arguments[i], SIDE, SIDE);
            return 1;
        }
        const size_t size = (size_t)width * (size_t)height;
        unsigned char *frame = malloc(size);
        if (frame == NULL || fread(frame, 1, size, file) != size) {
            fprintf(stderr, "%s ends too soon\n", arguments[i]);
            return 1;
        }
        printf("%s: %d\n", arguments[i], classify(frame, width, height));
        free(frame);
        fclose(file);
    }
    return 0;
}
