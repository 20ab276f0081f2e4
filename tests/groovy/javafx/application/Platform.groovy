package javafx.application

class Platform {
    static void runLater(Runnable work) { work.run() }
}
