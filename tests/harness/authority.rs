//! A certificate authority of our own, and the identities of servers, good ones and bad ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    PublicKeyData,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

/// What TLS offers by ALPN.
#[derive(Debug, Clone, Copy)]
pub enum Alpn {
    /// HTTP/2, else HTTP/1.1.
    Http2,
    /// HTTP/1.1 alone.
    Http11,
}

/// An authority the program can be told to trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    above: Vec<CertificateDer<'static>>,
    dir: TempDir,
}

impl Authority {
    /// A root.
    pub fn new() -> Authority {
        let (params, key) = (authority_params("fetchmany test root"), new_key());
        let certificate = params.self_signed(&key).expect("sign the root");
        Authority::from(params, key, certificate, Vec::new())
    }

    /// An authority below this one. Its identities send it along, and all between it and the root.
    pub fn intermediate(&self) -> Authority {
        // One that has the name of its issuer would be taken to be a root.
        let name = format!("fetchmany test intermediate {}", self.above.len() + 1);
        let (params, key) = (authority_params(&name), new_key());
        let certificate = params.signed_by(&key, &self.issuer).expect("sign the intermediate");
        let above = std::iter::once(certificate.der().clone()).chain(self.above.iter().cloned()).collect();
        Authority::from(params, key, certificate, above)
    }

    fn from(
        params: CertificateParams,
        key: KeyPair,
        certificate: Certificate,
        above: Vec<CertificateDer<'static>>,
    ) -> Authority {
        let dir = tempfile::tempdir().expect("make a temporary directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("write the root");
        Authority { issuer: Issuer::new(params, key), certificate, above, dir }
    }

    /// The file for `--cacert`.
    pub fn pem(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// A good server: `localhost`, `127.0.0.1` and the names below `.test` that the cases use.
    pub fn identity(&self) -> Identity {
        self.issue(&["localhost", "127.0.0.1", "a.test", "b.test"], |_| {})
    }

    /// A server for these names, its certificate changed by `edit` before it is signed.
    pub fn issue(&self, names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = new_key();
        let mut params = leaf_params(names);
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("sign a leaf");
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.above.iter().cloned());
        Identity { chain, pem: certificate.pem(), key, clients: None }
    }

    /// A good server that asks every client for a certificate of this authority.
    pub fn identity_asking_for_client_certificates(&self) -> Identity {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("our own root");
        Identity { clients: Some(Arc::new(roots)), ..self.identity() }
    }
}

/// A server's certificate, the chain it sends, and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
    clients: Option<Arc<RootCertStore>>,
}

impl Identity {
    /// A certificate that nobody signed but itself.
    pub fn self_signed() -> Identity {
        let key = new_key();
        let certificate = leaf_params(&["localhost", "127.0.0.1"]).self_signed(&key).expect("sign itself");
        Identity { chain: vec![certificate.der().clone()], pem: certificate.pem(), key, clients: None }
    }

    /// The same without what stands between it and the root.
    pub fn without_intermediate(mut self) -> Identity {
        self.chain.truncate(1);
        self
    }

    /// Certificate and key as files, for servers that are programs of their own.
    pub fn write(&self, dir: &Path) {
        std::fs::write(dir.join("cert.pem"), &self.pem).expect("write the certificate");
        std::fs::write(dir.join("key.pem"), self.key.serialize_pem()).expect("write the key");
    }

    /// The public key, as DER and as PEM.
    pub fn public_key(&self) -> (Vec<u8>, String) {
        (self.key.subject_public_key_info(), self.key.public_key_pem())
    }

    /// The configuration of a server in this process.
    pub fn server_config(&self, alpn: Alpn) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider has them");
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
            }
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("our own key");
        let mut config = builder.with_single_cert(self.chain.clone(), key).expect("key and certificate fit");
        config.alpn_protocols = match alpn {
            Alpn::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Alpn::Http11 => vec![b"http/1.1".to_vec()],
        };
        Arc::new(config)
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("make a key")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn leaf_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("plain names");
    // Verifiers match the names above and never look at this one; a subject must only differ from its issuer's.
    params.distinguished_name.push(DnType::CommonName, "fetchmany test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}
