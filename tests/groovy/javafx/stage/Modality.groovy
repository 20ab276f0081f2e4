package javafx.stage

enum Modality { NONE }
