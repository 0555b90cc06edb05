"""Networks on whole images: upscaling, scores, costs, vital signs."""
