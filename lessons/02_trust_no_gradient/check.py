"""numeric_gradient is held to known slopes; check_vjp must catch broken gradients and pass right ones."""

import numpy as np

from lessons.checking import fail, hold, note, rng, told

EPS = 0.01  # so large that a difference to one side shows its error


# ------------------------------------------------------------------------------------------------------------- slopes


def hold_slopes(mine, f, expected, x, dy, case):
    """Hold numeric_gradient of sum(dy * f(x)) to its slopes, and to what classic mistakes would give."""
    hold("slope", expected, mine.numeric_gradient(f, x, dy, EPS), case, rtol=1e-7, atol=0,
         lookalikes=lambda: mistakes(f, expected, x, dy), pictures=False)  # fmt: skip


def mistakes(f, expected, x, dy):
    """Answers that classic mistakes would give."""
    once, moving, plain = (np.zeros(x.shape) for _ in range(3))
    moved = x.copy()
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = EPS
        once[i] = (dy * (f(x + step) - f(x))).sum() / EPS
        plain[i] = (f(x + step) - f(x - step)).sum() / (2 * EPS)
        above = f(moved + step)
        moved[i] -= EPS
        moving[i] = (dy * (above - f(moved))).sum() / (2 * EPS)
    return {
        "a difference to one side only: its error shrinks like eps, that of (f(x+eps) - f(x-eps)) / (2 eps) like eps "
        "squared": once,
        "the distance between the two points is 2 eps, not eps": 2 * expected,
        "not divided by the distance 2 eps": expected * 2 * EPS,
        "dy is left out: the slope of sum(dy * f(x)) is asked for": plain,
        "x is not put back: later entries are measured beside the place": moving,
    }


def elementwise(mine, f, derivative, shape, case):
    x, dy = rng("x").uniform(0.5, 1.5, shape), rng("dy").standard_normal(shape)
    hold_slopes(mine, f, dy * derivative(x), x, dy, case)


def test_slope_of_a_square(mine):
    elementwise(mine, lambda x: x**2, lambda x: 2 * x, (1,), "f(x) = x^2, one number")


def test_slope_of_a_cube(mine):
    """((x + e)^3 - (x - e)^3) / 2e = 3 x^2 + e^2, exactly."""
    elementwise(mine, lambda x: x**3, lambda x: 3 * x**2 + EPS**2, (3, 4), "f(x) = x^3, shape=(3, 4)")


def test_any_shape(mine):
    """(sin(x + e) - sin(x - e)) / 2e = cos(x) sin(e) / e, exactly."""
    for shape in ((5,), (2, 3, 2), (1, 2, 2, 3)):
        elementwise(mine, np.sin, lambda x: np.cos(x) * np.sin(EPS) / EPS, shape, f"f(x) = sin x, {told(shape=shape)}")
    note("(5,), (2,3,2), (1,2,2,3)")


def test_function_of_all_entries(mine):
    """y = x^T x mixes the entries, and has another shape than x: its gradient is x (dy + dy^T)."""
    x, dy = rng("x").standard_normal((3, 2)), rng("dy").standard_normal((2, 2))
    hold_slopes(mine, lambda x: x.T @ x, x @ (dy + dy.T), x, dy, "f(x) = x^T x, shape=(3, 2)")
    note("f(x) = x^T x")


def test_float32_input(mine):
    x, dy = np.array([0.5, 1.5, 2.5], np.float32), np.ones(3)
    case, expected = "x is float32, eps=1e-05", 3 * x.astype(np.float64) ** 2
    slopes = mine.numeric_gradient(lambda x: x**3, x, dy, 1e-5)
    looks = "x is still float32, whose seven digits are too few for a difference: copy it to float64 first, " \
            "np.array(x, np.float64)"  # fmt: skip
    if getattr(slopes, "dtype", None) == np.float32:
        fail("slope: the dtype is float32, expected float64", looks, case)
    known = {looks: slopes} if np.shape(slopes) == expected.shape else {}  # with float64, the checks above were passed
    hold("slope", expected, slopes, case, rtol=1e-6, lookalikes=known, looks=looks, pictures=False)


# ------------------------------------------------------------------------------------- right gradients, and broken ones


def norm(x):
    """Batch normalisation of each column, without gamma and beta."""
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)


def norm_backward(dy, x, way_through_variance=True):
    xhat = norm(x)
    g = dy - dy.mean(0) - (xhat * (dy * xhat).mean(0) if way_through_variance else 0)
    return g / np.sqrt(x.var(0) + 1e-5)


def tanh_backward(dy, x):
    return dy * (1 - np.tanh(x) ** 2)


def last_entry_off(dy, x):
    dx = tanh_backward(dy, x)
    dx[-1, -1] *= 1.05
    return dx


def steep(x):
    return 1e6 * np.tanh(x)


def flat(x):
    return 1e-6 * np.tanh(x)


CONSTANT = "dy is not random: the sum of a batch norm is constant, so nothing is left to measure but rounding"
ONES = "dy is all ones: the sum of a normalised column is 0, whatever x is; draw dy at random, the same for backward"
ABSOLUTE = "the error is measured in absolute terms: it means something only beside the size of the slopes"
STEP = "the tolerance is too small, or eps too small or too large: see the picture"
ORDERED = "a comparison with NaN is always False: ask `error <= tolerance`, and let everything else be wrong"
SOME = "not every entry is compared: take the largest error of all, neither the first few, nor their sum or mean"
BROKEN = {  # what is broken: forward, backward, what a checker that passes it looks like
    "it is twice the gradient": (np.tanh, lambda dy, x: 2 * tanh_backward(dy, x), "the two gradients are not compared"),
    "its sign is wrong": (np.tanh, lambda dy, x: -tanh_backward(dy, x), "only sizes are compared: the sign counts too"),
    "one entry of twelve is 5 % off": (np.tanh, last_entry_off, SOME),
    "a batch norm's is all zeros": (norm, lambda dy, x: np.zeros_like(x), ONES),
    "a batch norm's misses the variance": (norm, lambda dy, x: norm_backward(dy, x, False), ONES),
    "a batch norm's is twice too large": (norm, lambda dy, x: 2 * norm_backward(dy, x), ONES),
    "it is twice too large, and tiny": (flat, lambda dy, x: 2e-6 * tanh_backward(dy, x), ABSOLUTE),
    "it is NaN": (np.tanh, lambda dy, x: dy * np.nan, ORDERED),
    "it has lost the batch": (lambda x: x.sum(0), lambda dy, x: dy, "the shapes are not compared: NumPy stretches one "
                              "row over all of them"),
}  # fmt: skip
RIGHT = {
    "f(x) = x": (lambda x: x, lambda dy, x: dy, "is backward given the very dy that numeric_gradient was given?"),
    "tanh": (np.tanh, tanh_backward, STEP),
    "batch norm": (norm, norm_backward, STEP),
    "a million times tanh": (steep, lambda dy, x: 1e6 * tanh_backward(dy, x), ABSOLUTE),
}


def constant(mine, forward, backward):
    """True if check_vjp hands backward the same number everywhere."""
    seen = []

    def watched(dy, x):
        seen.append(np.ptp(dy) == 0)
        return backward(dy, x)

    verdict(mine, forward, watched)
    return any(seen)


def verdict(mine, forward, backward, seed="x"):
    answer = mine.check_vjp(forward, backward, rng(seed).standard_normal((4, 3)), rng("upstream " + seed))
    if not isinstance(answer, bool | np.bool_):
        looks = "nothing is returned: is the `return` there?" if answer is None else "the error itself is returned"
        fail(f"check_vjp answers {answer!r}, expected True or False", looks)
    return answer


def test_right_gradients_pass(mine):
    for name, (forward, backward, looks) in RIGHT.items():
        for seed in ("one", "two", "three"):
            if not verdict(mine, forward, backward, seed):
                every = not any(verdict(mine, *other[:2]) for other in RIGHT.values())
                inverted = every and verdict(mine, *BROKEN["it is twice the gradient"][:2])
                if inverted:
                    looks = "True and False are swapped"
                elif constant(mine, forward, backward):
                    looks = CONSTANT
                fail(f"the gradient of {name} is right, and check_vjp answers False", looks)
    note(", ".join(RIGHT))


def test_broken_gradients_are_caught(mine):
    for name, (forward, backward, looks) in BROKEN.items():
        if verdict(mine, forward, backward):
            fail(f"a broken gradient got through ({name}): check_vjp answers True", looks)
    note(f"all {len(BROKEN)}")
