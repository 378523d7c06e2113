"""Training from scratch: the embedded classifiers of the concept world."""

from pellucid.training.card import model_card as model_card
from pellucid.training.classifier import measured_accuracy as measured_accuracy
from pellucid.training.classifier import train_classifier as train_classifier
from pellucid.training.settings import ClassifierTraining as ClassifierTraining

__all__ = ["ClassifierTraining", "measured_accuracy", "model_card", "train_classifier"]
