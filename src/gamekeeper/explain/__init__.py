"""Attribution maps: which entries of an input a network's answer hangs on. Pure functions of a network, one paper a file.

    gradient, gradient_x_input   maps of the input's height and width; a table's is one row
    grad_cam, relevance_cam,     maps of an activation's height and width: the last one that is still a picture, or the
    libra_cam                    one behind the first `layer` layers. Raises Unsuited for a network without such

Every map explains the logit of the class it is asked about, in evaluation mode. All maps are differentiable in the
weights (`create_graph`), which is what a thief needs who matches them and a defender who bends them; the CAMs only piece
by piece. What is served and what the thief matches is the map as it leaves these functions: signed but for Grad-CAM,
neither enlarged nor, but for Libra-CAM, scaled.
"""

from collections.abc import Mapping
from typing import Literal

from gamekeeper.explain.grad_cam import grad_cam
from gamekeeper.explain.gradient import gradient, gradient_x_input
from gamekeeper.explain.libra_cam import libra_cam
from gamekeeper.explain.maps import Explainer, Maps, as_map
from gamekeeper.explain.relevance_cam import relevance_cam

ExplainerName = Literal["gradient", "gradient_x_input", "grad_cam", "relevance_cam", "libra_cam"]

EXPLAINERS: Mapping[ExplainerName, Explainer] = {
    "gradient": gradient,
    "gradient_x_input": gradient_x_input,
    "grad_cam": grad_cam,
    "relevance_cam": relevance_cam,
    "libra_cam": libra_cam,
}

__all__ = [
    "EXPLAINERS",
    "Explainer",
    "ExplainerName",
    "Maps",
    "as_map",
    "grad_cam",
    "gradient",
    "gradient_x_input",
    "libra_cam",
    "relevance_cam",
]
