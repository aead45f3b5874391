"""The tables of the toy faces: what an expression does to a face, and how hair lies.

The expressions are sums of facial actions after Ekman and Friesen's action units (FACS, 1978), which move brows, lids,
nose, cheeks and mouth; EXPRESSIONS holds one or more ways of showing each. Curves are in the face units of portrait.py.
"""

import numpy as np

# What each action does at strength 1 (its action unit): brow_inner, brow_outer raise (1, 2), knit draws together (4),
# eye_open raises the upper lid (5), lower_lid tightens (7), lid_droop lowers the outer lid, cheek raises (6), nose
# wrinkles (9), upper_lip raises (10), corner pulls the mouth's corners up (12; negative: down, 15), stretch widens
# (20; negative: rounds, 18), jaw opens (26), press thins the lips (24), square keeps the opening's ends tall, teeth
# show, pout pushes the lower lip out (17).
ACTIONS = ("brow_inner", "brow_outer", "brow_arch", "knit", "eye_open", "lower_lid", "lid_droop", "cheek", "nose",
           "upper_lip", "corner", "stretch", "jaw", "press", "square", "teeth", "pout")

EXPRESSIONS = {
    "angry": (dict(brow_inner=-1.0, brow_outer=0.1, knit=1.0, eye_open=-0.1, lower_lid=0.6, press=1.0, corner=-0.4),
              dict(brow_inner=-1.0, brow_outer=0.1, knit=1.0, eye_open=0.1, lower_lid=0.5, jaw=0.42, square=1.0,
                   teeth=1.0, corner=-0.25, upper_lip=0.15, stretch=0.1)),
    "disgust": (dict(brow_inner=-0.6, brow_outer=-0.45, knit=0.4, eye_open=-0.45, lower_lid=0.8, cheek=0.5, nose=1.0,
                     upper_lip=1.0, corner=-0.6, pout=0.6, jaw=0.05),
                dict(brow_inner=-0.6, brow_outer=-0.45, knit=0.4, eye_open=-0.45, lower_lid=0.8, cheek=0.5, nose=1.0,
                     upper_lip=1.1, corner=-0.55, jaw=0.2, teeth=0.9, square=0.3)),
    "fear": (dict(brow_inner=0.95, brow_outer=0.35, knit=0.7, eye_open=0.8, lower_lid=0.3, stretch=0.8, jaw=0.42,
                  square=0.8, corner=-0.35, teeth=0.7),
             dict(brow_inner=0.95, brow_outer=0.35, knit=0.7, eye_open=0.8, lower_lid=0.3, stretch=0.9, jaw=0.22,
                  square=1.0, corner=-0.45, teeth=1.0)),
    "happy": (dict(corner=1.0, stretch=0.55, cheek=1.0, lower_lid=0.65, eye_open=-0.2, brow_outer=0.1, jaw=0.4,
                   teeth=1.0, brow_arch=0.2),
              dict(corner=1.0, stretch=0.6, cheek=0.9, lower_lid=0.6, eye_open=-0.2, brow_outer=0.1, press=0.2,
                   brow_arch=0.2)),
    "sad": (dict(brow_inner=0.95, brow_outer=-0.4, knit=0.5, eye_open=-0.4, lid_droop=1.0, corner=-1.0, pout=0.7,
                 stretch=-0.1),),
    "surprise": (dict(brow_inner=1.15, brow_outer=0.95, brow_arch=0.7, eye_open=0.9, jaw=0.74, stretch=-1.0),
                 dict(brow_inner=1.15, brow_outer=0.95, brow_arch=0.7, eye_open=0.9, jaw=0.50, stretch=-1.2)),
    "neutral": ({},),
}

# Outlines of the hair before the face (its lower edge is the hairline) and behind it, by style.
_CAP = [(0.88, -0.5), (0.64, -1.03), (0.0, -1.21), (-0.64, -1.03), (-0.88, -0.5)]
_CURLS = [(np.sin(a) * (1.06 + 0.05 * (-1) ** i), -0.5 - np.cos(a) * (0.86 + 0.05 * (-1) ** i))
          for i, a in enumerate(np.linspace(-2.15, 2.15, 19))]
HAIR_STYLES = {
    "bald": ([], []),
    "short": ([(-0.82, -0.08), (-0.71, -0.36), (-0.58, -0.60), (-0.25, -0.68), (0.25, -0.68), (0.58, -0.60),
               (0.71, -0.36), (0.82, -0.08)] + _CAP, []),
    "parted": ([(-0.83, 0.0), (-0.72, -0.28), (-0.58, -0.46), (-0.2, -0.56), (0.2, -0.72), (0.36, -0.86), (0.50, -0.66),
                (0.70, -0.38), (0.83, -0.04), (0.90, -0.5), (0.66, -1.06), (0.1, -1.28), (-0.62, -1.14), (-0.92, -0.5)],
               []),
    "fringe": ([(-0.93, 0.62), (-0.74, 0.52), (-0.70, 0.0), (-0.66, -0.34), (-0.3, -0.38), (0.0, -0.36), (0.3, -0.38),
                (0.66, -0.34), (0.70, 0.0), (0.74, 0.52), (0.93, 0.62), (1.0, 0.0), (0.92, -0.6), (0.6, -1.08),
                (0.0, -1.24), (-0.6, -1.08), (-0.92, -0.6), (-1.0, 0.0)],
               [(-0.93, 0.6), (-0.5, 0.78), (0.5, 0.78), (0.93, 0.6), (0.95, -0.5), (0.0, -1.1), (-0.95, -0.5)]),
    "long": ([(-0.98, 1.5), (-0.72, 1.2), (-0.77, 0.5), (-0.71, -0.1), (-0.52, -0.52), (-0.06, -0.88), (0.02, -0.90),
              (0.5, -0.56), (0.71, -0.1), (0.77, 0.5), (0.72, 1.2), (0.98, 1.5), (1.08, 0.5), (0.97, -0.5),
              (0.64, -1.08), (0.0, -1.24), (-0.64, -1.08), (-0.97, -0.5), (-1.08, 0.5)],
             [(-1.05, 1.6), (1.05, 1.6), (1.05, 0.3), (0.9, -0.6), (0.0, -1.15), (-0.9, -0.6), (-1.05, 0.3)]),
    "curly": ([(-0.80, -0.02), (-0.70, -0.22), (-0.66, -0.42), (-0.52, -0.50), (-0.42, -0.62), (-0.24, -0.60),
               (-0.08, -0.68), (0.1, -0.61), (0.28, -0.66), (0.42, -0.58), (0.56, -0.52), (0.64, -0.38), (0.71, -0.22),
               (0.80, -0.02)] + _CURLS[::-1][2:-2], _CURLS),
    "swept": ([(-0.80, -0.05), (-0.70, -0.34), (-0.60, -0.60), (-0.3, -0.82), (0.0, -0.86), (0.3, -0.82), (0.60, -0.60),
               (0.70, -0.34), (0.80, -0.05), (0.85, -0.5), (0.62, -1.0), (0.0, -1.14), (-0.62, -1.0), (-0.85, -0.5)],
              [(-0.34, -1.2), (-0.38, -1.42), (0.0, -1.62), (0.38, -1.42), (0.34, -1.2), (0.0, -1.05)]),
    "hat": ([(-0.86, -0.28), (-0.80, -0.44), (-0.4, -0.55), (0.0, -0.58), (0.4, -0.55), (0.80, -0.44), (0.86, -0.28),
             (0.91, -0.62), (0.66, -1.12), (0.0, -1.32), (-0.66, -1.12), (-0.91, -0.62)],
            [(-0.84, 0.02), (-0.6, 0.10), (0.6, 0.10), (0.84, 0.02), (0.86, -0.5), (0.0, -0.9), (-0.86, -0.5)]),
}
HAIR_NAMES = tuple(HAIR_STYLES)
GLASSES_NAMES = ("none", "round", "square")
BEARD_NAMES = ("none", "stubble", "moustache", "full")
OCCLUSION_NAMES = ("none", "hand", "bar", "patch")
