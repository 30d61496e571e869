"""Random bits as a pure function of a key and a position: nothing keeps a generator's state.

The same key gives the same bits on every array library, because only wrapping int32 arithmetic is used, which all of
them share. A key is a pair of int32 words, an array of shape (*members, 2); `fold` mixes a number (the epoch, the
step, the layer) into it.
"""

from __future__ import annotations

import math
from typing import Any

Array = Any

# 2^32 / golden ratio as a signed word (Knuth, The Art of Computer Programming 3, 6.4), so that zero moves
_GOLDEN = 0x9E3779B9 - (1 << 32)


def mix(word: Array) -> Array:
    """A bijective hash of int32 words in which every input bit moves every output bit.

        w ^= w >>> 16;  w *= 0x7feb352d;  w ^= w >>> 15;  w *= 0x846ca68b;  w ^= w >>> 16

    Wellons' lowbias32 (nullprogram.com, "Prospecting for Hash Functions", 2018), of the form of MurmurHash3's
    finalizer. The standard's >> copies the sign, so a mask makes the shift a logical one.
    """
    word = word ^ ((word >> 16) & 0xFFFF)
    word = word * 0x7FEB352D
    word = word ^ ((word >> 15) & 0x1FFFF)
    word = word * (0x846CA68B - (1 << 32))
    return word ^ ((word >> 16) & 0xFFFF)


def fold(key: Array, number: Array, *, xp: Any) -> Array:
    """A new key from `key` (..., 2) and int32 `number` (...), both with a leading axis: other numbers, other keys.

    The first word alone is a bijection of `number`, so that two steps, or two layers, never share a key.

    >>> import numpy as np
    >>> fold(np.zeros((1, 2), dtype=np.int32), np.asarray([3], dtype=np.int32), xp=np)
    array([[  701777424, -1587577844]], dtype=int32)
    """
    first = mix(mix(mix(key[..., 0] + _GOLDEN) ^ number) + key[..., 1])  # mixed first: seed 1, epoch 0 is not 0, 1
    second = mix((key[..., 1] ^ mix(first + _GOLDEN)) + _GOLDEN)
    return xp.stack([first, second], axis=-1)


def bits(key: Array, shape: tuple[int, ...], *, xp: Any) -> Array:
    """31 random bits an element, int32 in [0, 2^31), of shape (*members, *shape).

    Parameters
    ----------
    key : int32 array of shape (*members, 2)
    shape : shape of one member's result; a position counts within it, so a lane's bits are those of a lone network.

    >>> import numpy as np
    >>> bits(np.asarray([1, 2], dtype=np.int32), (2, 2), xp=np)
    array([[1258283920, 1909306039],
           [1421008002, 1719923833]], dtype=int32)
    """
    position = xp.reshape(xp.arange(math.prod(shape), dtype=xp.int32, device=getattr(key, "device", None)), shape)
    lead = (
        *key.shape[:-1],
        *(1 for _ in shape),
    )  # their rank at once: what uses the bits draws them
    word = mix(mix(position + xp.reshape(key[..., :1], lead)) ^ xp.reshape(key[..., 1:], lead))
    return word & 0x7FFFFFFF


def normal(key: Array, shape: tuple[int, ...], dtype: Any, *, xp: Any) -> Array:
    """Standard normal numbers sqrt(-2 ln u) cos(2 pi v) of shape (*members, *shape).

    u in (0, 1] and v in [0, 1) are uniform on the multiples of 2^-24, exact in float32 too, so that every backend and
    dtype has the same numbers within rounding. The smallest u bounds them: |n| <= 5.77, beyond which lies 8e-9 of the
    normal distribution.

    Parameters
    ----------
    key : int32 array of shape (*members, 2)
    shape : shape of one member's result; a lane's numbers are those of a lone network.
    dtype : the floating-point type of the result.

    Box and Muller (1958), "A note on the generation of random normal deviates".

    >>> import numpy as np
    >>> normal(np.asarray([1, 2], dtype=np.int32), (2, 2), np.float64, xp=np).round(3)
    array([[-1.034,  0.302],
           [ 0.3  , -0.038]])
    """
    words = bits(key, (2, math.prod(shape)), xp=xp) >> 7  # 24 bits
    uniform = xp.astype(words, dtype) * 2.0**-24  # (*members, 2, elements)
    radius = xp.sqrt(-2.0 * xp.log(uniform[..., 0, :] + 2.0**-24))
    found = radius * xp.cos((2.0 * math.pi) * uniform[..., 1, :])
    return xp.reshape(found, (*key.shape[:-1], *shape))
