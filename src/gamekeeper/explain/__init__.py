"""Attribution maps: which input entries a network's answer depends on. Pure functions of a network, one paper per file.

    gradient, gradient_x_input   maps of the input's height and width; for a table, one row
    grad_cam, relevance_cam,     maps of an activation's height and width: the last activation with spatial dimensions,
    libra_cam                    or the one after the first `layer` layers. Raises Unsuited for a network without one

Every map explains the logit of a given class, in evaluation mode. All maps are differentiable in the weights
(`create_graph`), which thieves need to match them and defenders to distort them; the CAMs only piecewise. Served, and
matched by the thief, are the maps as these functions return them: signed except for Grad-CAM, not upsampled, and
unscaled except for Libra-CAM.
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
