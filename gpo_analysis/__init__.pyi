from .losses import MarginLoss as MarginLoss
from .losses import get_loss as get_loss
from .losses import list_losses as list_losses
from .losses import parse_loss as parse_loss

__version__: str
