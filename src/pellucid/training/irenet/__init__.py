"""IRENet, a recognizer of semantic features: the network, its arms and rivals, and their training."""

from pellucid.training.irenet.build import NETWORKS as NETWORKS
from pellucid.training.irenet.build import Architecture as Architecture
from pellucid.training.irenet.build import build as build
from pellucid.training.irenet.learning import train_recognizer as train_recognizer
from pellucid.training.irenet.network import IRENet as IRENet
from pellucid.training.irenet.settings import RecognizerTraining as RecognizerTraining

__all__ = ["NETWORKS", "Architecture", "IRENet", "RecognizerTraining", "build", "train_recognizer"]
