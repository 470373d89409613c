"""What an optimizer's step does to each parameter: kept from before it (`before`), and explained (`explain`)."""
