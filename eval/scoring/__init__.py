"""One slide's result: detections matched to lesions."""
