"""The integer operators once more, in loops over Python's own integers, as the contract words them.

Nothing here is shared with ``edgeinfer.meaning.reference`` but the operators' attributes.
"""

from fractions import Fraction
from itertools import product
from math import floor

import numpy as np

HALF = Fraction(1, 2)


def rounded(op, acc, multiplier, shift):
    exact = Fraction(int(acc) * int(multiplier), 2 ** int(shift))
    if op.rounding == "double" and shift > 31:
        exact += Fraction(2**30 if acc >= 0 else -(2**30), 2 ** int(shift))
    return floor(exact + HALF)


def requantized(op, acc, multiplier, shift):
    return min(max(rounded(op, acc, multiplier, shift) + op.output_zero_point, op.lo), op.hi)


def elementwise(function, shape):
    y = np.zeros(shape, np.int64)
    for index in np.ndindex(*shape):
        y[index] = function(index)
    return y


def conv(op, x, weights, bias, multiplier, shift, out_shape):
    top, left = op.pads[:2]
    channels, kh, kw, depth = weights.shape
    per_group = channels // op.group

    def at(index):
        n, i, j, c = index
        acc = int(bias[c])
        for ky, kx, d in product(range(kh), range(kw), range(depth)):
            row = i * op.strides[0] + ky * op.dilations[0] - top
            column = j * op.strides[1] + kx * op.dilations[1] - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                q = int(x[n, row, column, c // per_group * depth + d])
                acc += (q - op.input_zero_point) * int(weights[c, ky, kx, d])
        return requantized(op, acc, multiplier[c], shift[c])

    return elementwise(at, out_shape)


def dense(op, x, weights, bias, multiplier, shift):
    def at(index):
        *rest, c = index
        acc = int(bias[c])
        for q, w in zip(x[tuple(rest)], weights[c], strict=True):
            acc += (int(q) - op.input_zero_point) * int(w)
        return requantized(op, acc, multiplier[c], shift[c])

    return elementwise(at, (*x.shape[:-1], len(weights)))


def add(op, a, b, sign):
    a, b = np.broadcast_arrays(a, b)

    def at(index):
        left = (int(a[index]) - op.a_zero_point) << op.left_shift
        right = (int(b[index]) - op.b_zero_point) << op.left_shift
        acc = rounded(op, left, op.a_multiplier, op.a_shift)
        acc += sign * rounded(op, right, op.b_multiplier, op.b_shift)
        return requantized(op, acc, op.multiplier, op.shift)

    return elementwise(at, a.shape)


def mul(op, a, b):
    a, b = np.broadcast_arrays(a, b)

    def at(index):
        acc = (int(a[index]) - op.a_zero_point) * (int(b[index]) - op.b_zero_point)
        return requantized(op, acc, op.multiplier, op.shift)

    return elementwise(at, a.shape)


def rescale(op, x):
    def at(index):
        return requantized(op, int(x[index]) - op.input_zero_point, op.multiplier, op.shift)

    return elementwise(at, x.shape)


def prelu(op, x, multiplier, shift):
    def at(index):
        acc = int(x[index]) - op.input_zero_point
        slope = int(np.ravel_multi_index(index, x.shape)) % len(multiplier)
        if acc >= 0:
            return requantized(op, acc, op.multiplier, op.shift)
        return requantized(op, acc, multiplier[slope], shift[slope])

    return elementwise(at, x.shape)


def average_pool(op, x, multiplier, shift, out_shape):
    top, left, bottom, right = op.pads

    def at(index):
        n, i, j, c = index
        acc = count = 0
        for ky, kx in product(range(op.kernel[0]), range(op.kernel[1])):
            row, column = i * op.strides[0] + ky - top, j * op.strides[1] + kx - left
            if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                acc += int(x[n, row, column, c]) - op.input_zero_point
                count += 1
            elif op.count_include_pad and row < x.shape[1] + bottom and column < x.shape[2] + right:
                acc += op.pad_value - op.input_zero_point
                count += 1
        return requantized(op, acc, multiplier[count - 1], shift[count - 1])

    return elementwise(at, out_shape)


def reduce_sum(op, x, out_shape):
    acc = {}
    for index in np.ndindex(*x.shape):
        kept = tuple(
            0 if axis in op.axes else i
            for axis, i in enumerate(index)
            if axis not in op.axes or op.keepdims
        )
        acc[kept] = acc.get(kept, 0) + int(x[index]) - op.input_zero_point
    return elementwise(lambda i: requantized(op, acc[i], op.multiplier, op.shift), out_shape)


def lookup(x, table):
    if len(table) != 513:
        return elementwise(lambda i: table[int(x[i]) + len(table) // 2], x.shape)

    def at(index):
        i, f = divmod(int(x[index]) + 32768, 128)
        return floor(int(table[i]) + Fraction((int(table[i + 1]) - int(table[i])) * f, 128) + HALF)

    return elementwise(at, x.shape)


def softmax(x, table, axis):
    def exponential(d):
        if x.dtype == np.int8:
            return int(table[d])
        return floor(Fraction(int(table[0, d // 256]) * int(table[1, d % 256]), 2**30) + HALF)

    def at(index):
        line = [int(q) for q in x[(*index[:axis], slice(None), *index[axis + 1 :])]]
        terms = [exponential(max(line) - q) for q in line]
        share = Fraction(terms[index[axis]], sum(terms))
        if x.dtype == np.int8:
            return min(floor(share * 256 + HALF) - 128, 127)
        return min(floor(share * 32768 + HALF), 32767)

    return elementwise(at, x.shape)


def normalization(op, x, multiplier, bias):
    groups = {}
    for index in np.ndindex(*x.shape):
        groups.setdefault(_others(op, index), []).append(int(x[index]))
    shares = {key: _share(op, q) for key, q in groups.items()}

    def at(index):
        mean, factor, rest, shift = shares[_others(op, index)]
        share = floor(Fraction((int(x[index]) - mean) * factor - rest, 2**shift) + HALF)
        place = int(np.ravel_multi_index(index, x.shape))
        channel = place // op.inner % len(multiplier)
        acc = share * int(multiplier[channel]) + int(bias[channel])
        return requantized(op, acc, 1, op.shift)

    return elementwise(at, x.shape)


def _others(op, index):
    return tuple(i for axis, i in enumerate(index) if axis not in op.axes)


def _share(op, q):
    """Mean, factor, rest and shift of a group of integers."""
    n, z = len(q), op.input_zero_point
    mean, left, weight, lost = z, 0, 1, 0
    if op.measure == "variance":
        mean, left = divmod(sum(q), n)
        weight, squares = n, sum((v - mean) ** 2 for v in q)
        while squares >> lost >= 2 ** (62 - n.bit_length()):
            lost += 2
        measure = (squares >> lost) * n - (left * left >> lost)
    elif op.measure == "squares":
        measure = sum((v - z) ** 2 for v in q)
    else:
        measure = sum(abs(v - z) for v in q) ** 2
    if measure == 0:
        return mean, 0, 0, 1
    # places to the left that bring it to 61 or 62 bits, and those for epsilon
    places = (62 - measure.bit_length()) // 2 * 2
    t, places = measure << places, places - lost
    if op.epsilon:
        own = 62 - 2 * op.exponent
        common = min(places, own)
        t, added = t >> (places - common), (op.epsilon << 31) >> (own - common)
        t, places = (max(t, added) if op.is_least else t + added), common
    if t >= 2**62:
        t, places = t >> 2, places - 2
    root = _reciprocal_root(t)
    bits = weight.bit_length()
    factor, rest = (floor(Fraction(v * root, 2**bits) + HALF) for v in (weight, left))
    return mean, factor, rest, min(61 - places // 2 - bits - op.fraction, 62)


def _reciprocal_root(t):
    x = t >> 30
    # 2^15 / sqrt((i + 1/2) / 32), rounded
    i = x >> 27
    y = next(r for r in range(2**16) if (2 * r + 1) ** 2 * (2 * i + 1) > 2**38) << 15
    for _ in range(3):
        y = y * (3 * 2**30 - ((y * y // 2**30) * x // 2**32)) // 2**31
    return y


def reduce_l2(op, x, out_shape):
    squares = {}
    for index in np.ndindex(*x.shape):
        kept = tuple(
            0 if axis in op.axes else i
            for axis, i in enumerate(index)
            if axis not in op.axes or op.keepdims
        )
        squares[kept] = squares.get(kept, 0) + (int(x[index]) - op.input_zero_point) ** 2

    def at(index):
        v, places, root = squares[index], 0, 0
        if v:
            places = (62 - v.bit_length()) // 2 * 2
            t = v << places
            root = floor(Fraction((t >> 31) * _reciprocal_root(t), 2**30) + HALF)
        acc = floor(root * Fraction(2) ** (op.fraction - places // 2) + HALF)
        return requantized(op, acc, op.multiplier, op.shift)

    return elementwise(at, out_shape)
