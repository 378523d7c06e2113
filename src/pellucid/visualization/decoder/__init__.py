"""The up-convolution decoder: what the maps of a layer, or a few channels of it, stand for, as a picture."""

from pellucid.visualization.decoder.decoding import Decoded as Decoded
from pellucid.visualization.decoder.decoding import Decodings as Decodings
from pellucid.visualization.decoder.decoding import Feedback as Feedback
from pellucid.visualization.decoder.decoding import decode as decode
from pellucid.visualization.decoder.errors import Errors as Errors
from pellucid.visualization.decoder.model import Decoder as Decoder
from pellucid.visualization.decoder.model import DecoderError as DecoderError
from pellucid.visualization.decoder.model import load_decoder as load_decoder
from pellucid.visualization.decoder.settings import DecoderTraining as DecoderTraining
from pellucid.visualization.decoder.sheets import patterns_sheet as patterns_sheet
from pellucid.visualization.decoder.sheets import save as save
from pellucid.visualization.decoder.training import train_decoder as train_decoder

__all__ = [
    "Decoded",
    "Decoder",
    "DecoderError",
    "DecoderTraining",
    "Decodings",
    "Errors",
    "Feedback",
    "decode",
    "load_decoder",
    "patterns_sheet",
    "save",
    "train_decoder",
]
