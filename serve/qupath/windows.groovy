// Words and windows.

def fail(words) { throw new IllegalStateException(words.toString()) }

def tell(words) {
    println "gigaslide: ${words}"
    Dialogs.showInfoNotification("gigaslide", words.toString())
}

def confirm(words) {
    if (getQuPath() && !Dialogs.showConfirmDialog("gigaslide", words.toString())) {
        throw new InterruptedException()
    }
}

def choose(words, choices) {
    if (!getQuPath()) fail("${words} State it at the top of the script")
    def list = choices as List
    def chosen = Dialogs.showChoiceDialog("gigaslide", words.toString(), list, list[0])
    if (chosen == null) throw new InterruptedException()
    return chosen
}

def askText(words) {
    if (!getQuPath()) fail("${words} State it at the top of the script: link")
    def given = Dialogs.showInputDialog("gigaslide", words.toString(), "")
    if (!given) throw new InterruptedException()
    return given
}

/** A bar and Cancel, beside QuPath's window; nothing where QuPath has none. */
class ProgressWindow {
    volatile boolean isCancelled = false
    private Alert alert
    private Label label
    private ProgressBar bar

    ProgressWindow(quPath) {
        if (quPath == null) return
        Platform.runLater {
            label = new Label("")
            bar = new ProgressBar(-1)
            bar.setPrefWidth(320)
            alert = new Alert(Alert.AlertType.NONE, "", ButtonType.CANCEL)
            alert.setTitle("gigaslide")
            alert.initOwner(quPath.getStage())
            alert.initModality(Modality.NONE)
            alert.getDialogPane().setContent(new VBox(8, label, bar))
            alert.setOnHidden { isCancelled = true }
            alert.show()
        }
    }

    void show(words, share) {
        Platform.runLater {
            label?.setText(words.toString())
            bar?.setProgress(share as double)
        }
    }

    void close() {
        Platform.runLater { alert?.close() }
    }
}
