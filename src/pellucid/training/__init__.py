"""Training: the loop that all trainings share, and from scratch the embedded classifiers of the concept world."""

from pellucid.training.card import model_card as model_card
from pellucid.training.classifier import measured_accuracy as measured_accuracy
from pellucid.training.classifier import train_classifier as train_classifier
from pellucid.training.loop import Job as Job
from pellucid.training.loop import Record as Record
from pellucid.training.loop import train as train
from pellucid.training.settings import ClassifierTraining as ClassifierTraining

__all__ = [
    "ClassifierTraining",
    "Job",
    "Record",
    "measured_accuracy",
    "model_card",
    "train",
    "train_classifier",
]
