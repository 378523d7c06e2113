"""Sources of labeled images: folders, concept sets, and the embedded concept world."""
