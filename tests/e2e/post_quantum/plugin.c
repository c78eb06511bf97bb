/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A plugin for Debian 13's strongSwan 6.0.1, which has IKE's part of ML-KEM but no plugin with the algorithm; its OpenSSL 3.5
 * has the algorithm. For the rehearsal only: strongSwan has it by itself from 6.0.2 on, when built with OpenSSL 3.5.
 *
 * Debian packages no headers of strongSwan. What is declared here is its interface between library and plugins.
 */
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

enum {
    ML_KEM_768 = 36, /* IANA, IKEv2 transform type 4 */
    FEATURE_PROVIDE = 0,
    FEATURE_REGISTER = 3,
    FEATURE_KE = 9,
};

typedef struct {
    unsigned char *ptr;
    size_t len;
} chunk_t;

typedef struct plugin_feature_t {
    int kind, type;
    union {
        int method;
        struct {
            bool final;
            void *create;
        } reg;
    } arg;
} plugin_feature_t;

typedef struct plugin_t plugin_t;
struct plugin_t {
    char *(*get_name)(plugin_t *);
    int (*get_features)(plugin_t *, plugin_feature_t **);
    bool (*reload)(plugin_t *);
    void (*destroy)(plugin_t *);
};

typedef struct key_exchange_t key_exchange_t;
struct key_exchange_t {
    bool (*get_shared_secret)(key_exchange_t *, chunk_t *);
    bool (*set_public_key)(key_exchange_t *, chunk_t);
    bool (*get_public_key)(key_exchange_t *, chunk_t *);
    bool (*set_seed)(key_exchange_t *, chunk_t, void *);
    int (*get_method)(key_exchange_t *);
    void (*destroy)(key_exchange_t *);
    /* Private from here on. The caller has a key, the answerer a ciphertext made with the caller's. */
    EVP_PKEY *key;
    chunk_t ciphertext, secret;
};

static bool copied(const chunk_t *from, chunk_t *to)
{
    if (!from->len || !(to->ptr = malloc(from->len)))
        return false;
    to->len = from->len;
    for (size_t i = 0; i < from->len; i++)
        to->ptr[i] = from->ptr[i];
    return true;
}

static bool get_shared_secret(key_exchange_t *this, chunk_t *secret)
{
    return copied(&this->secret, secret);
}

static bool get_public_key(key_exchange_t *this, chunk_t *value)
{
    if (this->ciphertext.len)
        return copied(&this->ciphertext, value);
    if (!this->key && !(this->key = EVP_PKEY_Q_keygen(NULL, NULL, "ML-KEM-768")))
        return false;
    unsigned char *encoded = NULL;
    chunk_t held = {NULL, EVP_PKEY_get1_encoded_public_key(this->key, &encoded)};
    held.ptr = encoded;
    bool done = copied(&held, value);
    OPENSSL_free(encoded);
    return done;
}

static bool decapsulate(key_exchange_t *this, EVP_PKEY_CTX *context, chunk_t value)
{
    size_t size = 0;
    if (EVP_PKEY_decapsulate_init(context, NULL) <= 0 ||
        EVP_PKEY_decapsulate(context, NULL, &size, value.ptr, value.len) <= 0 || !(this->secret.ptr = malloc(size)) ||
        EVP_PKEY_decapsulate(context, this->secret.ptr, &size, value.ptr, value.len) <= 0)
        return false;
    this->secret.len = size;
    return true;
}

static bool encapsulate(key_exchange_t *this, EVP_PKEY_CTX *context)
{
    size_t made = 0, size = 0;
    if (EVP_PKEY_encapsulate_init(context, NULL) <= 0 || EVP_PKEY_encapsulate(context, NULL, &made, NULL, &size) <= 0 ||
        !(this->ciphertext.ptr = malloc(made)) || !(this->secret.ptr = malloc(size)) ||
        EVP_PKEY_encapsulate(context, this->ciphertext.ptr, &made, this->secret.ptr, &size) <= 0)
        return false;
    this->ciphertext.len = made;
    this->secret.len = size;
    return true;
}

static bool set_public_key(key_exchange_t *this, chunk_t value)
{
    EVP_PKEY_CTX *context;
    bool answers = !this->key, done = false;
    if (answers) {
        EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "ML-KEM-768", NULL);
        if (maker && EVP_PKEY_fromdata_init(maker) > 0) {
            OSSL_PARAM given[] = {OSSL_PARAM_octet_string("pub", value.ptr, value.len), OSSL_PARAM_END};
            if (EVP_PKEY_fromdata(maker, &this->key, EVP_PKEY_PUBLIC_KEY, given) <= 0)
                this->key = NULL;
        }
        EVP_PKEY_CTX_free(maker);
    }
    if (this->key && (context = EVP_PKEY_CTX_new_from_pkey(NULL, this->key, NULL))) {
        done = answers ? encapsulate(this, context) : decapsulate(this, context, value);
        EVP_PKEY_CTX_free(context);
    }
    return done;
}

static int get_method(key_exchange_t *this)
{
    return ML_KEM_768;
}

static void destroy(key_exchange_t *this)
{
    EVP_PKEY_free(this->key);
    free(this->ciphertext.ptr);
    if (this->secret.ptr)
        OPENSSL_cleanse(this->secret.ptr, this->secret.len);
    free(this->secret.ptr);
    free(this);
}

static key_exchange_t *create(int method)
{
    key_exchange_t *this = method == ML_KEM_768 ? calloc(1, sizeof *this) : NULL;
    if (this) {
        this->get_shared_secret = get_shared_secret;
        this->set_public_key = set_public_key;
        this->get_public_key = get_public_key;
        this->get_method = get_method;
        this->destroy = destroy;
    }
    return this;
}

static char *get_name(plugin_t *this)
{
    return "mlkem";
}

static int get_features(plugin_t *this, plugin_feature_t **features)
{
    static plugin_feature_t offered[] = {
        {FEATURE_REGISTER, FEATURE_KE, {.reg = {false, create}}},
        {FEATURE_PROVIDE, FEATURE_KE, {.method = ML_KEM_768}},
    };
    *features = offered;
    return sizeof offered / sizeof *offered;
}

static bool reload(plugin_t *this)
{
    return false;
}

static void unload(plugin_t *this)
{
}

plugin_t *mlkem_plugin_create(void)
{
    static plugin_t plugin = {get_name, get_features, reload, unload};
    return &plugin;
}
